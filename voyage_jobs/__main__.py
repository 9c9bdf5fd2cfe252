"""`python -m voyage_jobs` is `voyage-jobs`."""

from voyage_jobs.cli.main import main

if __name__ == "__main__":
    main()
