"""A tenant in its OpenStack cloud: what it is to have there, what it has, and how one becomes the other.

Imports point one way: findings, wish -> answers, place -> login, survey, console -> rules, choice, quota ->
server, local_checks -> network, volume, addresses -> plan -> present, absent -> module.
"""
