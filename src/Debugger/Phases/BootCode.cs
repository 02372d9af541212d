// What runs before the kernel, from the files that a kernel build makes (6.1): arch/x86/boot/setup.elf (real mode; DWARF as the kernel has it), arch/x86/boot/compressed/vmlinux
// (the decompressor; symbols only) and arch/x86/boot/bzImage, which holds the code of both. Distributions ship the last one alone.
using System.Collections.Immutable;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>The kernel's own code that runs before the kernel, as far as files of it are known.</summary>
public sealed class BootCode
{
    // The entry at 0x200 is a short jump over the header; "HdrS" follows it.
    private const int Entry = 0x200;
    private const int HeaderStart = 0x1f1;

    private BootCode(ImmutableArray<MovableCode> setup, ImmutableArray<MovableCode> decompressors, ImmutableArray<string> problems) =>
        (Setup, Decompressors, Problems) = (setup, decompressors, problems);

    /// <summary>Nothing is known: phases are told by words alone.</summary>
    public static BootCode None { get; } = new([], [], []);

    /// <summary>Files that could not be used, each in a sentence for people.</summary>
    public ImmutableArray<string> Problems { get; }

    internal ImmutableArray<MovableCode> Setup { get; }

    internal ImmutableArray<MovableCode> Decompressors { get; }

    /// <summary>Opens what is there. Which of several files the guest runs is told by their bytes later.</summary>
    /// <param name="bootImage">The bzImage or vmlinuz that is booted, or null.</param>
    /// <param name="buildTrees">Kernel build trees (folders with arch/x86/boot).</param>
    public static BootCode Open(string? bootImage, params IEnumerable<string> buildTrees)
    {
        var setup = ImmutableArray.CreateBuilder<MovableCode>();
        var decompressors = ImmutableArray.CreateBuilder<MovableCode>();
        var problems = ImmutableArray.CreateBuilder<string>();
        var images = new List<string>();
        foreach (var tree in buildTrees)
        {
            var boot = Path.Combine(tree, "arch/x86/boot");
            Try(Path.Combine(boot, "setup.elf"), path => setup.Add(OfElf(path)));
            Try(Path.Combine(boot, "compressed/vmlinux"), path => decompressors.Add(OfElf(path)));
            images.Add(Path.Combine(boot, "bzImage"));
        }

        // Files with names come first: the image's bytes are the same code.
        foreach (var image in bootImage is null ? images : [bootImage, .. images])
        {
            Try(image, AddParts);
        }

        return new BootCode(setup.ToImmutable(), decompressors.ToImmutable(), problems.ToImmutable());

        void AddParts(string path)
        {
            if (BootParts.TryOpen(path) is { } parts)
            {
                setup.Add(new MovableCode(WithoutHeader(parts.Setup), null));
                decompressors.Add(new MovableCode([(0, parts.Decompressor)], null));
            }
        }

        void Try(string path, Action<string> open)
        {
            try
            {
                if (File.Exists(path))
                {
                    open(path);
                }
            }
            catch (Exception e) when (e is MalformedFileException or IOException or UnauthorizedAccessException)
            {
                problems.Add(e.Message);
            }
        }
    }

    /// <summary>The pc stands on the setup code's very first instruction: a jump over the header, which no file has as the boot loader filled it in.</summary>
    internal static bool IsSetupEntry(ReadOnlySpan<byte> code) => code.Length >= 6 && code[0] == 0xeb && code.Slice(2, 4).SequenceEqual("HdrS"u8);

    /// <summary>Where the setup code's address 0 is, when the pc stands on its entry.</summary>
    internal static ulong BaseOfEntry(ulong pc) => pc - Entry;

    private static MovableCode OfElf(string path)
    {
        var image = KernelImage.Open(path);
        return new MovableCode([.. image.File.Sections.Where(s => s is { IsExecutable: true, HasContents: true, Size: > 0 }).Select(s => (s.Address, s.Data))], image);
    }

    private static ImmutableArray<(ulong Address, SectionData Bytes)> WithoutHeader(SectionData setup)
    {
        var end = Entry + 2 + setup.Span[Entry + 1];
        return [(0, Part(setup, 0, HeaderStart)), ((ulong)end, Part(setup, end, setup.Length))];
    }

    private static SectionData Part(SectionData data, int start, int end) => new(data.File, data.Name, data.Span[start..Math.Max(start, end)].ToArray());
}
