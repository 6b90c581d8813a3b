"""The miniature world: drawn scenes, captioned in English and Spanish, and a small CLIP trained on them."""
