"""On-demand production: Sentinel-1 products that the Copernicus Data Space makes on request, for money.

Imports point one way, from top to bottom:

- `place`, `cancel`: send orders, each once; cancel them.
- `reconcile`, `order_progress`: the ledger beside the service's list; how far orders are.
- `ledger`: what was ordered, written before it is sent.
- `order_service`, `access_token`, `credentials`: the service, a session with it, and the account.
- `account_lock`, `totp`, `paging`: one process an account, second factors, and lists in pages.
- `plan`, `plan_file`: what to order; a plan as a file.
- `existing_products`: CARD products that exist.
- `coherence_pairs`, `wanted_product`, `level_1_products`: possible pairs, a product to order, and its inputs.
- `forecast`: how long orders take, and what they cost.
"""
