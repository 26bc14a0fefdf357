"""Tests of plugins/module_utils/cloud, the modules that use it, and the vars plugin cloud_host."""
