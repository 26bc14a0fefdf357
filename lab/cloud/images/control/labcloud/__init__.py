"""The lab's cloud: what makes Debian's OpenStack run in one container, with containers as its servers."""
