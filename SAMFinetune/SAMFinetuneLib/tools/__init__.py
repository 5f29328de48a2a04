"""What the mouse does in the slice views: points, boxes, lassos, scribbles, brush strokes."""
