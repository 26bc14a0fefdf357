"""Makes plugins/module_utils importable as ansible.module_utils on the control host.

Ansible searches `module_utils` of ansible.cfg for modules only. Every other plugin that needs this
code runs this file before its import, and so do the unit tests.
"""

from pathlib import Path

import ansible.module_utils

FOLDER = str(Path(__file__).with_name("module_utils"))
if FOLDER not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(FOLDER)
