"""What the tests of the adapters (tests/adapters/) share.

guard     fails a test that reaches beyond this machine
world     a switchboard, workers that can be killed, and an agent, in processes of their own
worker    the program of such a worker
"""
