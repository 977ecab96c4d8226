"""The bootstrap: fits to resampled rows, all in passes of many models, and intervals from them."""
