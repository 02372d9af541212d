using KTrace.Symbols;

namespace KTrace.Tui.Commands;

/// <summary>A kernel's source files, where a person has them.</summary>
/// <param name="folder">Its top, where <c>kernel/</c> and <c>drivers/</c> lie; null: there is none.</param>
public sealed class SourceTree(string? folder)
{
    // Longer files are not written by people.
    private const long MaximumBytes = 16 << 20;

    private readonly Dictionary<string, string[]?> _files = new(StringComparer.Ordinal);
    private readonly string? _top = folder is null ? null : Path.GetFullPath(folder);

    public bool IsKnown => _top is not null;

    /// <summary>Lines of a file, counted from 1; null when the file is not there, or names a place outside the tree.</summary>
    public IReadOnlyList<string>? Lines(string file)
    {
        if (_top is null)
        {
            return null;
        }

        if (!_files.TryGetValue(file, out var lines))
        {
            _files[file] = lines = Read(Path.GetFullPath(Path.Combine(_top, file)));
        }

        return lines;
    }

    /// <summary>One line without its indentation; null when it is not known.</summary>
    public string? Line(SourceLine? source) => source is not null && Lines(source.File) is { } lines && source.Line > 0 && source.Line <= lines.Count ? lines[source.Line - 1] : null;

    private string[]? Read(string path)
    {
        // A file name out of debug information may hold any number of "..".
        if (!path.StartsWith(_top + Path.DirectorySeparatorChar, StringComparison.Ordinal))
        {
            return null;
        }

        try
        {
            return new FileInfo(path) is { Exists: true, Length: <= MaximumBytes } ? File.ReadAllLines(path) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
