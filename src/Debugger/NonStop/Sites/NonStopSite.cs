using System.Collections.Immutable;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>A function whose entry leads to a trampoline. One that leads through several programs is a site for each.</summary>
/// <param name="Entry">Its first instruction, at run time.</param>
/// <param name="Patch">Where its code is replaced, at run time.</param>
/// <param name="Return">Where the trampoline returns to: what a record says (<see cref="Ring.RecordFormat.Site"/>).</param>
/// <param name="Original">The bytes that were at <paramref name="Patch"/>.</param>
/// <param name="Module">The module that it belongs to, or null.</param>
public sealed record NonStopSite(ulong Entry, ulong Patch, ulong Return, ImmutableArray<byte> Original, string? Module)
{
    /// <summary>Whose hits are hits here; all with the same program. Not empty.</summary>
    public ImmutableArray<Tracepoint> Tracepoints { get; init; } = [];

    /// <summary>Which program its trampoline runs.</summary>
    public int Program { get; init; }

    /// <summary>It lies in text that is freed after boot, or after its module's init.</summary>
    public bool IsInit { get; init; }

    /// <summary>Its code is a place of the kernel's own tracer; of a moved entry it is not, and somebody may stand between its instructions.</summary>
    public bool IsTracers => Return == Patch + (ulong)Original.Length;
}

/// <summary>Sites by what records say of them.</summary>
public interface INonStopSites
{
    /// <summary>The site that a call's record means; null: none has that return and program, so the record is broken (or a guest's own invention).</summary>
    NonStopSite? Find(ulong returnAddress, uint program);
}
