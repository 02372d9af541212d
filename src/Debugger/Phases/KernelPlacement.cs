// Where the kernel runs, told from a pc in its text. KASLR moves it in steps of CONFIG_PHYSICAL_ALIGN (arch/x86/boot/compressed/kaslr.c, 6.1), which is 2 MiB or a multiple; so the
// low 21 bits of any address are as linked, and a pc in text of N MiB leaves N/2 possible places, each of which the build id in guest memory proves or refutes.
using System.Collections.Immutable;
using KTrace.Debugger.Memory;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>A kernel's possible places.</summary>
internal sealed class KernelPlacement
{
    /// <summary>Bytes between two places where KASLR may put a kernel.</summary>
    public const ulong Step = 2 << 20;

    /// <summary>KERNEL_IMAGE_SIZE on x86-64, in bytes; i386 has half of it: no kernel is moved as far at virtual addresses.</summary>
    public const ulong SlideLimit = 1UL << 30;

    private readonly KernelImage _image;
    private readonly (ulong Address, ImmutableArray<byte> Bytes) _fingerprint;
    private readonly (ulong Start, ulong End)[] _text;

    public KernelPlacement(KernelImage image)
    {
        _image = image;
        _fingerprint = image.Fingerprint;
        _text = [.. image.File.Sections.Where(s => s is { IsExecutable: true, IsAllocated: true, Size: > 0 }).Select(s => (s.Address, s.Address + s.Size))];

        // vmlinux.lds.S, 6.1: phys_startup_64 = ABSOLUTE(startup_64 - LOAD_OFFSET).
        var (entry, physical) = image.Architecture is X86_64 ? ("startup_64", "phys_startup_64") : ("startup_32", "phys_startup_32");
        PhysicalOffset = image.TryFindSymbol(entry, out var virtualEntry) && image.TryFindSymbol(physical, out var physicalEntry)
            ? virtualEntry.Value - physicalEntry.Value
            : image.Architecture is X86_64 ? 0xffffffff80000000 : 0xc0000000;
    }

    /// <summary>A link-time address minus this is the physical address of an unmoved kernel: __START_KERNEL_map on x86-64, PAGE_OFFSET on i386.</summary>
    public ulong PhysicalOffset { get; }

    /// <summary>How far the kernel was moved, if the pc stands in its text; in bytes.</summary>
    /// <param name="offset">0 for a pc at virtual addresses, <see cref="PhysicalOffset"/> for one at physical addresses.</param>
    public async ValueTask<ulong?> TryFindAsync(GuestMemory memory, ulong pc, ulong offset, CancellationToken cancellationToken)
    {
        foreach (var slide in Candidates(pc + offset))
        {
            // The sums wrap: without the limit, a pc at physical addresses would pass for one at virtual ones.
            if (offset == 0 && slide >= SlideLimit)
            {
                continue;
            }

            if (await IsAtAsync(memory, slide - offset, cancellationToken))
            {
                return slide;
            }
        }

        return null;
    }

    /// <summary>Whether the kernel's build id (its banner, if it has none) is in memory where it must be.</summary>
    /// <param name="slide">What to add to link-time addresses.</param>
    public async ValueTask<bool> IsAtAsync(GuestMemory memory, ulong slide, CancellationToken cancellationToken)
    {
        var found = new byte[_fingerprint.Bytes.Length];
        return await memory.TryReadAsync(Truncate(_fingerprint.Address + slide), found, cancellationToken) && found.AsSpan().SequenceEqual(_fingerprint.Bytes.AsSpan());
    }

    /// <summary>The physical address of the kernel's first byte, by its map at physical addresses.</summary>
    public ulong PhysicalStart(KernelMap physical) => physical.ToRunTime(_text.Min(t => t.Start));

    private IEnumerable<ulong> Candidates(ulong address)
    {
        if (_text.Length == 0)
        {
            yield break;
        }

        var first = _text.Min(t => t.Start);
        var span = _text.Max(t => t.End) - first;

        // Unmoved or moved upwards, as KASLR never goes below the address that the kernel was linked for. The sum of a high physical address and the offset wraps, as it should.
        var distance = address - first;
        for (var slide = distance / Step * Step; distance - slide < span; slide -= Step)
        {
            if (_text.Any(t => address - slide >= t.Start && address - slide < t.End))
            {
                yield return slide;
            }

            if (slide == 0)
            {
                break;
            }
        }
    }

    private ulong Truncate(ulong address) => _image.Architecture.WordSize == 4 ? (uint)address : address;
}
