"""The Helm chart: what of it comes from code, how it is rendered, and what is to be proven of what comes out.

python -m infra.helm    writes files/instance.json and files/gateway.json anew
"""
