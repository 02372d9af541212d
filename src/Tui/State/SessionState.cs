using System.Collections.Immutable;
using KTrace.Tracing;
using KTrace.Tui.Targets;

namespace KTrace.Tui.State;

public enum RunState
{
    /// <summary>Booting, attaching or loading: nothing to see yet.</summary>
    Starting,
    Running,
    Stopped,

    /// <summary>No machine any more, or a trace.</summary>
    Ended,
}

/// <summary>What the target said of itself last.</summary>
public sealed record SessionState
{
    public RunState Run { get; init; }

    /// <summary>The last stop; it stays while the machine runs.</summary>
    public StopSnapshot? Stop { get; init; }

    /// <summary>The chosen frame's contents; null until they came.</summary>
    public FrameSnapshot? Frame { get; init; }

    /// <summary>A hit of the timeline that is looked at instead of the stop.</summary>
    public TargetNews.HitShown? Shown { get; init; }

    public TargetNews.Progress? Progress { get; init; }

    /// <summary>Release and so on; null until the kernel is known.</summary>
    public string? Kernel { get; init; }

    public ulong Slide { get; init; }

    /// <summary>Why it ended.</summary>
    public string? EndReason { get; init; }

    /// <summary>Counts runs and stops.</summary>
    public long Changes { get; init; }

    /// <summary>The last of them has not lasted yet (<see cref="UiEvent.Lasted"/>): during a run the screen still shows the stop before it, after a stop still <see cref="Frame"/> of the one before.</summary>
    public bool IsBrief { get; init; }

    /// <summary>A step was asked for and did not stop yet.</summary>
    public bool IsStepping { get; init; }

    /// <summary>Steps that come after it, so that a held key steps on: a target takes one at a time. A breakpoint on the way ends them.</summary>
    public ImmutableArray<TargetRequest.Step> NextSteps { get; init; } = [];

    /// <summary>The target listed breakpoints once: from then on an empty list means that there are none.</summary>
    public bool HasListedBreakpoints { get; init; }

    /// <summary>Watches were handed to the target.</summary>
    public bool HasSentWatches { get; init; }

    /// <summary>The hit whose call path is on the screen: the chosen one of the timeline, or the stop's.</summary>
    public TraceRecord.Hit? Path => Shown?.Hit ?? Stop?.Path;

    /// <summary>The machine is there and stands still.</summary>
    public bool IsStopped => Run == RunState.Stopped;

    /// <summary>No step is under way, and none will be.</summary>
    public SessionState WithoutSteps() => this with { IsStepping = false, NextSteps = [] };

    /// <summary>As it is: a run is shown, and a stop has no frame but its own.</summary>
    public SessionState WithoutBrief() => IsBrief ? this with { IsBrief = false, Frame = IsStopped ? null : Frame } : this;

    /// <summary>Something is under way that a spinner should show.</summary>
    public bool IsBusy => Run is RunState.Starting or RunState.Running || Progress is not null;
}
