"""Figures of single images that take long, in processes beside: distances of surfaces, segments, partitions."""
