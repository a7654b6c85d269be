"""The scripts that tests start in processes of their own are no test modules."""

collect_ignore_glob = ["*_ranks.py", "killed.py", "lightning_model.py"]
