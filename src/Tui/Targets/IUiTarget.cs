using System.Threading.Channels;
using KTrace.Tracing;

namespace KTrace.Tui.Targets;

/// <summary>What is behind the screen: a live machine, or a recorded trace. It works in the background; nothing here waits.</summary>
public interface IUiTarget : IAsyncDisposable
{
    TargetAbilities Abilities { get; }

    /// <summary>Answers and events, in order. Completed when the target is over. Bounded: console text and hits come in batches.</summary>
    ChannelReader<TargetNews> News { get; }

    /// <summary>Asks for something; the answer comes as news. Requests are done in order, except <see cref="TargetRequest.Interrupt"/> and console input, which overtake.</summary>
    void Post(TargetRequest request);
}

/// <summary>What a target can do; keys for the rest say why not.</summary>
/// <param name="Title">Scenario, socket or trace file, for the title line.</param>
/// <param name="Identity">Names what is kept between sessions (breakpoints, watches, history): the same scenario has the same.</param>
/// <param name="IsLive">A machine that can run; otherwise a trace.</param>
/// <param name="CanReverse">Its stub goes backwards.</param>
/// <param name="CanTypeToConsole">The guest's serial line is connected.</param>
/// <param name="EndsGuest">Quitting kills the guest (it was started here); an attached one runs on.</param>
/// <param name="CanJump">A hit's moment can be reached again: the trace was recorded deterministically, or the session replays such a one.</param>
public sealed record TargetAbilities(
    string Title, string Identity, bool IsLive, bool CanReverse = false, bool CanTypeToConsole = false, bool EndsGuest = false, bool CanJump = false)
{
    /// <summary>Of a trace; of a live machine as it would be written now.</summary>
    public TraceRecord.Header? Header { get; init; }

    /// <summary>The hit of a trace that is looked at first; null: its first.</summary>
    public long? FirstHit { get; init; }
}
