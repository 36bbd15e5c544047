"""What Clarion is about, free of protocols and storage."""
