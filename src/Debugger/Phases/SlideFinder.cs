// KASLR (arch/x86/boot/compressed/kaslr.c, 6.1): the slide is a multiple of CONFIG_PHYSICAL_ALIGN, which is at least 2 MiB on x86-64,
// and the kernel stays below KERNEL_IMAGE_SIZE (1 GiB). On i386 the physical and the virtual slide are one and stay below 512 MiB.
using KTrace.Debugger.Memory;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>Finds where KASLR put the kernel, and proves by the build id in guest memory that it is this kernel.</summary>
internal sealed class SlideFinder(KernelImage image, GuestMemory memory)
{
    private const ulong SlideStep = KernelPlacement.Step;
    private const ulong SlideLimit = KernelPlacement.SlideLimit;

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
        var note = new byte[BuildIdNote.Header.Length + BuildIdNote.IdLength];
        for (ulong slide = 0; expected.Length == BuildIdNote.IdLength && slide < SlideLimit; slide += SlideStep)
        {
            if (await memory.TryReadAsync(Wrap(link + slide - (ulong)BuildIdNote.Header.Length), note, cancellationToken) && note.AsSpan().StartsWith(BuildIdNote.Header))
            {
                return Convert.ToHexStringLower(note.AsSpan(BuildIdNote.Header.Length));
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
            if (BuildIdNote.FindKernels(window.AsSpan(0, read.ReadableFromStart)) is { IsEmpty: false } found)
            {
                return Convert.ToHexStringLower(found.AsSpan());
            }
        }

        return null;
    }

    private ulong Wrap(ulong address) => image.Architecture.WordSize == 4 ? (uint)address : address;
}
