"""Adapters: files of weights that change what a model paints."""
