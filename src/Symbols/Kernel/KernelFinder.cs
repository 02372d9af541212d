// The vmlinux of a running kernel, by build id. Two kinds of places: files that may be it (each opened, its notes read, nothing else), and folders in which files stand under their
// build id: DIR/ab/cdef….debug (gdb manual, "Debugging Information in Separate Files") and DIR/abcdef…/debuginfo (debuginfod's client cache, debuginfod_find_debuginfo(3)).
using System.Collections.Immutable;
using System.Text;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>What came of a search.</summary>
/// <param name="Path">The file with that build id; null when none was found.</param>
/// <param name="Looked">Every file and folder that was looked at.</param>
/// <param name="NearestMiss">A vmlinux of the same release and another build, in words; null when there is none, or the kernel was found.</param>
/// <param name="Problems">Files that could not be read, and why.</param>
public sealed record KernelSearch(string? Path, ImmutableArray<string> Looked, string? NearestMiss, ImmutableArray<string> Problems)
{
    /// <summary>In one sentence, for people.</summary>
    public string Words =>
        Path is not null ? $"found {Path}"
        : Looked.IsEmpty ? "there is no vmlinux on this machine"
        : $"none of {Looked.Length} places has it{(NearestMiss is null ? "" : "; nearest: " + NearestMiss)}";
}

/// <summary>Finds the vmlinux with a build id.</summary>
/// <param name="files">Files that may be it. Those that do not exist are passed over.</param>
/// <param name="byBuildId">Folders with files named by build id.</param>
public sealed class KernelFinder(IEnumerable<string> files, IEnumerable<string> byBuildId)
{
    private static ReadOnlySpan<byte> BannerStart => "Linux version "u8;

    /// <param name="release">uname -r of the kernel, to name the nearest miss.</param>
    public KernelSearch Find(ReadOnlySpan<byte> buildId, string? release)
    {
        var looked = ImmutableArray.CreateBuilder<string>();
        var problems = ImmutableArray.CreateBuilder<string>();
        string? nearest = null;
        if (buildId.IsEmpty)
        {
            return new KernelSearch(null, [], null, ["the kernel has no build id to look for"]);
        }

        var hex = Convert.ToHexStringLower(buildId);
        foreach (var folder in byBuildId.Where(Directory.Exists))
        {
            looked.Add(folder);
            foreach (var path in (string[])[System.IO.Path.Combine(folder, hex[..2], hex[2..] + ".debug"), System.IO.Path.Combine(folder, hex, "debuginfo")])
            {
                if (TryOpen(path, problems) is { } file && file.BuildId.AsSpan().SequenceEqual(buildId))
                {
                    return new KernelSearch(path, looked.ToImmutable(), null, problems.ToImmutable());
                }
            }
        }

        foreach (var path in files.Distinct(StringComparer.Ordinal))
        {
            if (TryOpen(path, problems) is not { } file)
            {
                continue;
            }

            looked.Add(path);
            var own = file.BuildId;
            if (own.AsSpan().SequenceEqual(buildId))
            {
                return new KernelSearch(path, looked.ToImmutable(), null, problems.ToImmutable());
            }

            if (nearest is null && release is not null && ReleaseOf(file) == release)
            {
                nearest = $"{path} is {release} too, but of build {(own.IsEmpty ? "unknown" : Convert.ToHexStringLower(own.AsSpan()))}";
            }
        }

        return new KernelSearch(null, looked.ToImmutable(), nearest, problems.ToImmutable());
    }

    private static ElfFile? TryOpen(string path, ImmutableArray<string>.Builder problems)
    {
        try
        {
            return File.Exists(path) ? ObjectFile.OpenAsStored(path) : null;
        }
        catch (Exception e) when (e is MalformedFileException or IOException or UnauthorizedAccessException)
        {
            problems.Add(e.Message);
            return null;
        }
    }

    /// <summary>From linux_banner, without reading symbols: it stands in .rodata.</summary>
    private static string? ReleaseOf(ElfFile file)
    {
        if (file.FindSection(".rodata") is not { HasContents: true } section)
        {
            return null;
        }

        var rodata = section.Data.Span;
        for (var at = 0; rodata[at..].IndexOf(BannerStart) is var next and >= 0; at += BannerStart.Length)
        {
            at += next;
            var text = rodata[(at + BannerStart.Length)..];
            var end = text[..Math.Min(text.Length, 128)].IndexOf((byte)' ');
            if (end > 0 && char.IsAsciiDigit((char)text[0]))
            {
                return Encoding.UTF8.GetString(text[..end]);
            }
        }

        return null;
    }
}
