"""Parts of the noxfile."""
