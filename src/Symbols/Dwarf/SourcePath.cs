namespace KTrace.Symbols.Dwarf;

/// <summary>How the path of a source file is put together from what the line table has of it.</summary>
internal static class SourcePath
{
    /// <summary>
    /// Long: as binutils' addr2line prints it, compilation directory / directory / name, dropping what stands before an absolute part.
    /// Short: directory / name, and without the compilation directory where the producer wrote it into the table.
    /// </summary>
    public static void Append(
        ByteBuffer into, DwarfSections sections, StringReference compDir, StringReference directory, StringReference name, bool shortForm)
    {
        var file = sections.Bytes(name);
        if (IsAbsolute(file))
        {
            into.Append(shortForm ? Strip(file, sections.Bytes(compDir)) : file);
            return;
        }

        var folder = sections.Bytes(directory);
        if (shortForm)
        {
            folder = Strip(folder, sections.Bytes(compDir));
        }
        else if (!IsAbsolute(folder) && !compDir.IsNone)
        {
            into.Append(sections.Bytes(compDir));
            into.Append((byte)'/');
        }

        if (!directory.IsNone && !(shortForm && folder.IsEmpty))
        {
            into.Append(folder);
            if (!shortForm || folder[^1] != '/')
            {
                into.Append((byte)'/');
            }
        }

        into.Append(file);
    }

    private static bool IsAbsolute(ReadOnlySpan<byte> path) => path.Length > 0 && path[0] == '/';

    private static ReadOnlySpan<byte> Strip(ReadOnlySpan<byte> path, ReadOnlySpan<byte> folder)
    {
        if (folder.Length == 0 || !path.StartsWith(folder))
        {
            return path;
        }

        var rest = path[folder.Length..];
        return rest.IsEmpty ? rest : rest[0] == '/' ? rest[1..] : path;
    }
}
