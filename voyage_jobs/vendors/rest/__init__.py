"""What Voyage and OpenAI do alike: the calls for files, jobs and vectors, and the lines that are sent and fetched."""
