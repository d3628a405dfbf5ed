"""How the bundled model ``mini`` is made: data, autoencoder, denoiser, export, evaluation."""
