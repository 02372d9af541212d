// KASLR (arch/x86/boot/compressed/kaslr.c, 6.1): the slide is a multiple of CONFIG_PHYSICAL_ALIGN, which is at least 2 MiB on x86-64,
// and the kernel stays below KERNEL_IMAGE_SIZE (1 GiB). On i386 the physical and the virtual slide are one and stay below 512 MiB.
using KTrace.Debugger.Memory;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>Finds where KASLR put the kernel, and proves by the build id in guest memory that it is this kernel.</summary>
internal sealed class SlideFinder(KernelImage image, GuestMemory memory)
{
    private const ulong SlideStep = 2 << 20;
    private const ulong SlideLimit = 1UL << 30;

    private const int BuildIdBytes = 20;
    private const int PageSize = 4096;

    /// <summary>Of a GNU note: name size 4, descriptor size 20, type NT_GNU_BUILD_ID, "GNU" (gABI, "Note Section").</summary>
    private static ReadOnlySpan<byte> NoteHeader => [4, 0, 0, 0, BuildIdBytes, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0];

    /// <summary>The slide in bytes, or null when this kernel is nowhere in the guest's present address space.</summary>
    public async ValueTask<ulong?> FindAsync(CancellationToken cancellationToken)
    {
        var (link, expected) = image.Fingerprint;
        var found = new byte[expected.Length];
        for (ulong slide = 0; slide < SlideLimit; slide += SlideStep)
        {
            if (await memory.TryReadAsync(Wrap(link + slide), found, cancellationToken) && found.AsSpan().SequenceEqual(expected.AsSpan()))
            {
                return slide;
            }
        }

        return null;
    }

    /// <summary>The build id of whatever kernel is in the guest, for a message; null when none is found.</summary>
    public async ValueTask<string?> FindForeignBuildIdAsync(CancellationToken cancellationToken)
    {
        // A build of the same sources most likely has its note at the same place.
        var (link, expected) = image.Fingerprint;
        var note = new byte[NoteHeader.Length + BuildIdBytes];
        for (ulong slide = 0; expected.Length == BuildIdBytes && slide < SlideLimit; slide += SlideStep)
        {
            if (await memory.TryReadAsync(Wrap(link + slide - (ulong)NoteHeader.Length), note, cancellationToken) && note.AsSpan().StartsWith(NoteHeader))
            {
                return Convert.ToHexStringLower(note.AsSpan(NoteHeader.Length));
            }
        }

        var window = new byte[64 << 10];
        for (ulong at = 0; at < 2 * SlideLimit; at += (ulong)window.Length)
        {
            var start = Wrap(image.KernelMapBase + at);
            if (start % SlideStep == 0 && !await memory.TryReadAsync(start, window.AsMemory(0, 8), cancellationToken))
            {
                at += SlideStep - (ulong)window.Length;
                continue;
            }

            var read = await memory.ReadAsync(start, window, cancellationToken);
            if (FindKernelsNote(window.AsSpan(0, read.ReadableFromStart)) is { } found)
            {
                return found;
            }
        }

        return null;
    }

    /// <summary>The kernel carries the vDSOs' files, each with a note of its own in its first pages: those are passed over.</summary>
    private static string? FindKernelsNote(ReadOnlySpan<byte> window)
    {
        for (var at = 0; window[at..].IndexOf(NoteHeader) is var next and >= 0; at++)
        {
            at += next;
            var page = at & ~(PageSize - 1);
            var inFile = window[page..].StartsWith("\u007fELF"u8) || (page >= PageSize && window[(page - PageSize)..].StartsWith("\u007fELF"u8));
            if (!inFile && window.Length - at >= NoteHeader.Length + BuildIdBytes)
            {
                return Convert.ToHexStringLower(window.Slice(at + NoteHeader.Length, BuildIdBytes));
            }
        }

        return null;
    }

    private ulong Wrap(ulong address) => image.Architecture.WordSize == 4 ? (uint)address : address;
}
