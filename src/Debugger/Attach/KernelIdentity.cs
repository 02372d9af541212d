// Which kernel a guest runs, told by the guest alone. The interrupt table's divide-error gate leads into the kernel's text; behind the text, in .rodata, lie linux_banner
// ("Linux version …", init/version.c) and the notes with the build id (arch/x86/kernel/vmlinux.lds.S, 6.1: text, then rodata, all within one mapping).
// The banner is the guest's text: it may hold anything, and has to be sanitised before a terminal sees it.
using System.Collections.Immutable;
using System.Text;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
using KTrace.Symbols.Arch;

namespace KTrace.Debugger.Attach;

/// <summary>A running kernel, as its memory tells it.</summary>
/// <param name="BuildId">NT_GNU_BUILD_ID; empty when none was found.</param>
/// <param name="Banner">linux_banner without its line end; null when none was found.</param>
/// <param name="PagingLevels">2 or 3 on i386, 4 or 5 on x86-64.</param>
public sealed record KernelIdentity(Architecture Architecture, ImmutableArray<byte> BuildId, string? Banner, int PagingLevels)
{
    private const int MaximumBanner = 512;
    private const int Window = 256 << 10;
    private const int LargePage = 2 << 20;
    private const int PageSize = 4096;

    // The largest distribution kernels have 30 MiB from the first byte of text to the last of rodata.
    private const int Reach = 64 << 20;

    private static ReadOnlySpan<byte> BannerStart => "Linux version "u8;

    /// <summary>uname -r, out of the banner; null when it is not one.</summary>
    public string? Release => Banner?.Split(' ') is ["Linux", "version", { Length: > 0 } release, ..] ? release : null;

    /// <summary>The kernel in words that are safe to show: release and build id.</summary>
    public string Words
    {
        get
        {
            var release = new string([.. (Release ?? "").Take(64).Where(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '+' or '~')]);
            return $"{(release.Length == 0 ? "unknown release" : release)}, {Architecture.Name}, {(BuildId.IsEmpty ? "without a build id" : "build " + Convert.ToHexStringLower(BuildId.AsSpan()))}";
        }
    }

    /// <summary>The architecture of what the CPU that stopped executes, as far as it can be told: before paging, the one that the stub's registers are for.</summary>
    public static async ValueTask<Architecture> ArchitectureOfAsync(RspClient client, CancellationToken cancellationToken)
    {
        var block = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(block, cancellationToken);
        return new PagingRegisters(block.Layout).Read(block) is { Kind: PagingKind.TwoLevels or PagingKind.Pae } || !block.Layout.TryFind("rip", out _) ? I386.Instance : X86_64.Instance;
    }

    /// <summary>Reads it out of a stopped guest; null when no kernel runs in it yet, or none that can be told.</summary>
    /// <exception cref="RspException">The stub is broken.</exception>
    public static async ValueTask<KernelIdentity?> TryReadAsync(Machine machine, CancellationToken cancellationToken)
    {
        var registers = await machine.RegisterBlockAsync(null, cancellationToken);
        if (new PagingRegisters(registers.Layout).Read(registers) is not { Kind: not PagingKind.Off } paging
            || await InterruptGates.TryReadDivideErrorAsync(machine, machine.StoppedCpu, cancellationToken) is not { } handler
            || !IsKernelAddress(handler, paging.Kind))
        {
            return null;
        }

        var found = await FindAsync(machine.Memory, handler, cancellationToken);
        if (!found.IsComplete && await KernelTables.TryFindAsync(machine, machine.StoppedCpu, cancellationToken) is { } tables)
        {
            machine.Memory.UseTables(tables);
            found = await FindAsync(machine.Memory, handler, cancellationToken);
        }

        return found.Banner is null && found.BuildId.IsEmpty ? null : new KernelIdentity(
            paging.Kind is PagingKind.FourLevels or PagingKind.FiveLevels ? X86_64.Instance : I386.Instance,
            found.BuildId, found.Banner,
            paging.Kind switch { PagingKind.TwoLevels => 2, PagingKind.Pae => 3, PagingKind.FourLevels => 4, _ => 5 });
    }

    private static bool IsKernelAddress(ulong address, PagingKind kind) =>
        kind is PagingKind.FourLevels or PagingKind.FiveLevels ? address >> 63 != 0 : address is >= 0x40000000 and <= uint.MaxValue;

    private static async ValueTask<Findings> FindAsync(GuestMemory memory, ulong handler, CancellationToken cancellationToken)
    {
        var found = new Findings();
        var start = handler & ~(ulong)(LargePage - 1);
        await ScanAsync(memory, start, Reach, found, cancellationToken);
        if (!found.IsComplete)
        {
            // Before traps are set up, the gate leads into init text, behind everything else.
            await ScanAsync(memory, start - Reach, Reach, found, cancellationToken);
        }

        return found;
    }

    private static async ValueTask ScanAsync(GuestMemory memory, ulong start, int length, Findings found, CancellationToken cancellationToken)
    {
        // What straddles two windows is seen whole in the second.
        const int overlap = MaximumBanner;
        var window = new byte[Window + overlap];
        for (var at = 0; at < length && !found.IsComplete; at += Window)
        {
            var address = start + (ulong)at;
            if (address % LargePage == 0 && !await memory.TryReadAsync(address, window.AsMemory(0, 8), cancellationToken))
            {
                at += LargePage - Window;
                continue;
            }

            var read = await memory.ReadAsync(address, window, cancellationToken);
            found.Search(window.AsSpan(0, read.ReadableFromStart));
        }
    }

    private sealed class Findings
    {
        private string? _numbered;
        private string? _any;

        public ImmutableArray<byte> BuildId { get; private set; } = [];

        /// <summary>6.1 and later carry a second one without the build's number ("# SMP …"), which linux_banner replaced when the kernel was linked.</summary>
        public string? Banner => _numbered ?? _any;

        public bool IsComplete => _numbered is not null && !BuildId.IsEmpty;

        /// <summary>
        /// The kernel's own note lies behind its banner, in all of 4.19 to 6.12. Notes before it may be anybody's: the pages between text and rodata are freed, and files that
        /// were read into them (busybox, modules) have notes too.
        /// </summary>
        public void Search(ReadOnlySpan<byte> window)
        {
            var behind = 0;
            for (var at = 0; _numbered is null && window[at..].IndexOf(BannerStart) is var next and >= 0; at += BannerStart.Length)
            {
                at += next;
                var text = window[at..Math.Min(window.Length, at + MaximumBanner)];
                var end = text.IndexOfAny((byte)0, (byte)'\n');
                if (end > BannerStart.Length && char.IsAsciiDigit((char)text[BannerStart.Length]))
                {
                    var banner = Encoding.UTF8.GetString(text[..end]);
                    behind = Banner is null ? at & ~(PageSize - 1) : behind;
                    _any ??= banner;
                    _numbered = banner.IndexOf(" #", StringComparison.Ordinal) is var number and > 0 && number + 2 < banner.Length && char.IsAsciiDigit(banner[number + 2]) ? banner : null;
                }
            }

            if (Banner is not null && BuildId.IsEmpty)
            {
                BuildId = BuildIdNote.FindKernels(window[behind..]);
            }
        }
    }
}
