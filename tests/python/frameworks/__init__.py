"""What the tests of the adapters (tests/adapters/) share.

guard           fails a test that reaches beyond this machine
world, worker   a switchboard, workers that can be killed, and an agent, in processes of their own
model_server    a model on this machine for clients of OpenAI; chats and responses_api are its two languages
scripted, crews models inside the process: of the Agents SDK, and of CrewAI
pages, kernels  programs of the documents and notebooks, run as they stand
"""
