"""The networks of Stable Diffusion, written once in ``keras.ops``, channels last."""
