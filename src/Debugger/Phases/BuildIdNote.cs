// NT_GNU_BUILD_ID in memory (gABI, "Note Section"): name size 4, descriptor size 20 (SHA-1, what ld makes unless told otherwise), type 3, "GNU", the id.
using System.Collections.Immutable;

namespace KTrace.Debugger.Phases;

/// <summary>Finds build ids in pieces of guest memory.</summary>
internal static class BuildIdNote
{
    /// <summary>In bytes.</summary>
    public const int IdLength = 20;

    private const int PageSize = 4096;

    /// <summary>What stands before the id.</summary>
    public static ReadOnlySpan<byte> Header => [4, 0, 0, 0, IdLength, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0];

    /// <summary>
    /// The first build id that is the kernel's own; empty when there is none. The kernel carries the vDSOs' files, each with a note of its own in its first pages: those are
    /// passed over.
    /// </summary>
    /// <param name="window">Begins at a page.</param>
    public static ImmutableArray<byte> FindKernels(ReadOnlySpan<byte> window)
    {
        for (var at = 0; window[at..].IndexOf(Header) is var next and >= 0; at++)
        {
            at += next;
            var page = at & ~(PageSize - 1);
            var inFile = window[page..].StartsWith("\u007fELF"u8) || (page >= PageSize && window[(page - PageSize)..].StartsWith("\u007fELF"u8));
            if (!inFile && window.Length - at >= Header.Length + IdLength)
            {
                return [.. window.Slice(at + Header.Length, IdLength)];
            }
        }

        return [];
    }
}
