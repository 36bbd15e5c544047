"""What each channel is: its address, its template parts, its message."""
