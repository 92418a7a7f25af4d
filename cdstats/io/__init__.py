"""Floor 2: file formats, and discovery of files from paths."""
