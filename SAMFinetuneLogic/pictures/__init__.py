"""Pictures of slices with what was segmented and prompted, drawn with numpy and Pillow alone."""
