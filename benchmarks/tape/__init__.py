"""From the vendor's messages and files to the lake, its features and labels."""
