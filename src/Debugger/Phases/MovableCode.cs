// The setup code and the decompressor run where the boot loader or they themselves put them, and nothing in memory says where that is. But both are still the bytes of their
// files, as neither patches its own code: a window around the pc tells which file it is, and how far it was moved. Only the setup code's header (boot.rst, 0x1f1 up to the
// entry's jump target) is filled in by the boot loader.
using System.Collections.Immutable;
using KTrace.Debugger.Memory;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>Code of a file that runs somewhere: found by its bytes at the pc.</summary>
/// <param name="Text">Its code with the addresses at which it is linked.</param>
/// <param name="Image">Its names, if the file has any.</param>
internal sealed record MovableCode(ImmutableArray<(ulong Address, SectionData Bytes)> Text, KernelImage? Image)
{
    // As many bytes as any two places in a boot program differ in; fewer only at the edge of readable memory.
    private const int WindowBefore = 64;
    private const int WindowAfter = 64;
    private const int LeastMatch = 24;

    // Repeated code gives many places for a needle; each is compared with the whole window.
    private const int MaximumCandidates = 256;

    // The moved decompressor stands at a page, the setup code at a paragraph.
    private const ulong BaseAlignment = 16;

    private readonly List<KernelMap> _maps = [];
    private ulong? _base;

    /// <summary>Where the file's address 0 is, if the pc stands in this code.</summary>
    public async ValueTask<ulong?> TryLocateAsync(GuestMemory memory, ulong pc, CancellationToken cancellationToken)
    {
        var after = new byte[WindowAfter];
        var length = await ReadableAsync(memory, pc, after, cancellationToken);
        if (length < LeastMatch)
        {
            return null;
        }

        var before = new byte[WindowBefore];
        var hasBefore = pc >= WindowBefore && await memory.TryReadAsync(pc - WindowBefore, before, cancellationToken);
        return Locate(pc, hasBefore ? before : [], after.AsSpan(0, length));
    }

    /// <summary>Names at the place where the code was found; null when the file has none.</summary>
    public KernelMap? MapAt(ulong start)
    {
        if (Image is null)
        {
            return null;
        }

        var map = _maps.Find(m => m.Slide == start);
        if (map is null)
        {
            _maps.Add(map = new KernelMap(Image, start));
        }

        return map;
    }

    internal ulong? Locate(ulong pc, ReadOnlySpan<byte> before, ReadOnlySpan<byte> after)
    {
        if (_base is { } known && Matches(pc - known, before, after))
        {
            return known;
        }

        foreach (var (address, bytes) in Text)
        {
            var text = bytes.Span;
            var needle = after[..Math.Min(after.Length, LeastMatch)];
            var at = 0;
            for (var i = 0; i < MaximumCandidates && text[at..].IndexOf(needle) is var next and >= 0; i++)
            {
                var link = address + (ulong)(at + next);
                if ((pc - link) % BaseAlignment == 0 && Matches(link, before, after))
                {
                    return _base = pc - link;
                }

                at += next + 1;
            }
        }

        return null;
    }

    private static async ValueTask<int> ReadableAsync(GuestMemory memory, ulong address, byte[] window, CancellationToken cancellationToken)
    {
        for (var length = window.Length; length >= LeastMatch; length /= 2)
        {
            if (await memory.TryReadAsync(address, window.AsMemory(0, length), cancellationToken))
            {
                return length;
            }
        }

        return 0;
    }

    /// <summary>All of the window that lies within the same piece of code is the same, and that is enough of it.</summary>
    private bool Matches(ulong link, ReadOnlySpan<byte> before, ReadOnlySpan<byte> after)
    {
        foreach (var (address, bytes) in Text)
        {
            if (link >= address && link - address < (ulong)bytes.Length)
            {
                var offset = (int)(link - address);
                var ahead = Math.Min(after.Length, bytes.Length - offset);
                var behind = Math.Min(before.Length, offset);
                return ahead + behind >= LeastMatch && bytes.Span.Slice(offset, ahead).SequenceEqual(after[..ahead])
                    && bytes.Span.Slice(offset - behind, behind).SequenceEqual(before[^behind..]);
            }
        }

        return false;
    }
}
