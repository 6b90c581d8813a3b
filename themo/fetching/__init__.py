"""What comes from other hosts: files of the Hugging Face hub and of ordinary ones, checked and kept."""
