# vault policy write trousseau vault-policy.hcl
# No "create" on encrypt: with it, Vault would make a missing key anew instead of saying that it is gone.
path "transit/encrypt/kubernetes" { capabilities = ["update"] }
path "transit/decrypt/kubernetes" { capabilities = ["update"] }
path "transit/keys/kubernetes"    { capabilities = ["read"] }
