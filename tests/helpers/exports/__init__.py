"""What Agent Builder exports, in the shapes that public exports have."""
