"""`smartfit demo learning`: a judge taught with few labels gets better by what a manager corrects, all by itself."""
