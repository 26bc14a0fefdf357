"""What an inventory says, judged before anything is changed.

Imports point one way: problem, formats -> specification -> values, names, tenants, pools, seasons -> judge.
"""
