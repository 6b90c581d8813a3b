"""Downloads from the Hugging Face hub and other hosts, checked and stored."""
