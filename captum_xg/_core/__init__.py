"""What every room uses: checks of arguments, model functions, modules, text, files, figures."""
