// Debug information in a file of its own (gdb manual, "Debugging Information in Separate Files"): found by the build id (DIR/.build-id/ab/cdef….debug), or by
// .gnu_debuglink, a file name and the CRC-32 of that file's contents, in the folder of the file, in .debug/ below it, and in DIR followed by that folder. objcopy
// --only-keep-debug and eu-strip -f keep all section headers there and leave out the bytes of what is loaded, so the two together are the file
// before it was split.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;

namespace KTrace.Symbols.Elf;

/// <summary>What became of the search for a separate debug file.</summary>
/// <param name="File">The debug file, or null when none was found that fits.</param>
/// <param name="Problems">Files that were there and did not fit, and why; for people.</param>
public sealed record SeparateDebugMatch(ElfFile? File, ImmutableArray<string> Problems);

/// <summary>Finds the file that has the debug information of another one, and puts both together.</summary>
public static class SeparateDebug
{
    private const int MaximumName = 4096;

    /// <summary>Where distributions put debug files.</summary>
    public static ImmutableArray<string> StandardDirectories { get; } = ["/usr/lib/debug"];

    /// <param name="file">A file without debug information.</param>
    /// <param name="directories">Instead of the standard ones.</param>
    public static SeparateDebugMatch Find(ElfFile file, IReadOnlyList<string>? directories = null)
    {
        directories ??= StandardDirectories;
        var problems = ImmutableArray.CreateBuilder<string>();
        var buildId = file.BuildId;
        foreach (var path in ByBuildId(buildId, directories))
        {
            if (TryOpen(path, problems) is not { } debug)
            {
                continue;
            }

            if (debug.BuildId.AsSpan().SequenceEqual(buildId.AsSpan()))
            {
                return new SeparateDebugMatch(debug, problems.ToImmutable());
            }

            problems.Add($"{path} has build id {Hex(debug.BuildId)}, not {Hex(buildId)}; not used");
        }

        if (TryReadLink(file, out var name, out var checksum))
        {
            foreach (var path in ByName(file.Path, name, directories))
            {
                if (TryOpen(path, problems) is not { } debug)
                {
                    continue;
                }

                // A build id says as much as a checksum and need not be computed over a gigabyte.
                if (!buildId.IsEmpty && debug.BuildId.AsSpan().SequenceEqual(buildId.AsSpan()))
                {
                    return new SeparateDebugMatch(debug, problems.ToImmutable());
                }

                var actual = Crc32.Of(new MappedFile(path));
                if (actual == checksum)
                {
                    return new SeparateDebugMatch(debug, problems.ToImmutable());
                }

                problems.Add($"{path} has CRC 0x{actual:x8}, and .gnu_debuglink of {file.Path} says 0x{checksum:x8}: it is of another build; not used");
            }
        }

        return new SeparateDebugMatch(null, problems.ToImmutable());
    }

    /// <summary>The name and the checksum that .gnu_debuglink has; false when there is no such section, or it is damaged.</summary>
    public static bool TryReadLink(ElfFile file, out string name, out uint checksum)
    {
        (name, checksum) = ("", 0);
        if (file.FindSection(".gnu_debuglink") is not { HasContents: true } section)
        {
            return false;
        }

        var bytes = section.Data.Span;
        var end = bytes.IndexOf((byte)0);
        // The checksum stands at the next multiple of four behind the name.
        var at = (end + 4) & ~3;
        if (end is <= 0 or > MaximumName || at > bytes.Length - 4)
        {
            return false;
        }

        name = Encoding.UTF8.GetString(bytes[..end]);
        checksum = BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
        // A name with folders in it could lead anywhere.
        return !name.Contains('/') && name is not ("." or "..");
    }

    /// <summary>
    /// The file before it was split: the one that has symbols gives the sections and their numbers, the other one the contents that it lacks.
    /// </summary>
    public static ElfFile Join(ElfFile stripped, ElfFile debug)
    {
        var (first, second) = debug.FindSection(".symtab") is { HasContents: true } ? (debug, stripped) : (stripped, debug);
        var sections = ImmutableArray.CreateBuilder<ElfSection>(first.Sections.Length + second.Sections.Length);
        var used = new HashSet<int>();
        foreach (var section in first.Sections)
        {
            var other = section.HasContents || section.Index == 0 ? null
                : second.Sections.FirstOrDefault(s => s.HasContents && s.Name == section.Name && s.Address == section.Address && s.Size == section.Size && !used.Contains(s.Index));
            if (other is not null)
            {
                used.Add(other.Index);
            }

            sections.Add(other is null ? section : new ElfSection(section.Index, other));
        }

        foreach (var section in second.Sections)
        {
            // What refers to other sections by number (relocations, symbols) means the numbers of its own file, and is left out.
            if (section.HasContents && first.FindSection(section.Name) is null && !used.Contains(section.Index)
                && section.Type is not (ElfSection.TypeRela or ElfSection.TypeRel or ElfSection.TypeSymtab or ElfSection.TypeSymtabShndx))
            {
                sections.Add(new ElfSection(sections.Count, section));
            }
        }

        return new ElfFile(stripped.Path, stripped.Is64Bit, stripped.Type, stripped.Machine, sections.ToImmutable());
    }

    private static IEnumerable<string> ByBuildId(ImmutableArray<byte> id, IReadOnlyList<string> directories)
    {
        if (id.Length < 2)
        {
            yield break;
        }

        var hex = Hex(id);
        foreach (var directory in directories)
        {
            yield return Path.Combine(directory, ".build-id", hex[..2], hex[2..] + ".debug");
        }
    }

    private static IEnumerable<string> ByName(string path, string name, IReadOnlyList<string> directories)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/";
        yield return Path.Combine(folder, name);
        yield return Path.Combine(folder, ".debug", name);
        foreach (var directory in directories)
        {
            yield return Path.Combine(directory, folder.TrimStart('/'), name);
            yield return Path.Combine(directory, name);
        }
    }

    private static ElfFile? TryOpen(string path, ImmutableArray<string>.Builder problems)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            var file = ElfFile.Open(path);
            // A link may name the very file that has it.
            return file.FindSection(".debug_info") is { HasContents: true } ? file : null;
        }
        catch (Exception e) when (e is MalformedFileException or IOException or UnauthorizedAccessException)
        {
            problems.Add(e.Message);
            return null;
        }
    }

    private static string Hex(ImmutableArray<byte> id) => id.IsEmpty ? "(none)" : Convert.ToHexStringLower(id.AsSpan());
}
