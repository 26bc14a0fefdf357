"""A tenant in its OpenStack cloud: what it is to have there, what it has, and how one becomes the other."""
