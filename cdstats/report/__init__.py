"""Floor 2: from records to text, frames and screens."""
