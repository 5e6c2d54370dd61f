"""Running converted networks, whatever their format; nothing here needs torch before a program does."""
