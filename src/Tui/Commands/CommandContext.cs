using KTrace.Debugger;
using KTrace.Debugger.Sessions;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary>Where answers go.</summary>
public interface ICommandOutput
{
    void Write(View view);

    /// <summary>Types into the guest's console.</summary>
    ValueTask SendToConsoleAsync(string text, CancellationToken cancellationToken);
}

/// <summary>A session with what a person has chosen in it: a CPU, a frame.</summary>
public sealed class CommandContext(DebugSession session, ICommandOutput output, SourceTree sources)
{
    private TraceRecord.Hit? _path;
    private SessionStop? _pathOf;
    private int _pathCpu;

    public DebugSession Session => session;

    public ICommandOutput Output => output;

    public SourceTree Sources => sources;

    /// <summary>Index in the call path; 0 after every stop.</summary>
    public int Frame { get; private set; }

    /// <summary>The call path of the chosen CPU at this stop.</summary>
    public async ValueTask<TraceRecord.Hit> CallPathAsync(CancellationToken cancellationToken)
    {
        if (_path is null || !ReferenceEquals(_pathOf, session.LastStop) || _pathCpu != session.Cpu)
        {
            _path = await session.CallPathAsync(cancellationToken);
            (_pathOf, _pathCpu, Frame) = (session.LastStop, session.Cpu, 0);
        }

        return _path;
    }

    /// <param name="frame">Index in the call path.</param>
    /// <param name="isMove">It was asked for as so many frames from the chosen one: then beyond the path's ends is said as such.</param>
    /// <exception cref="TargetException">There is no such frame.</exception>
    public async ValueTask SelectFrameAsync(int frame, bool isMove, CancellationToken cancellationToken)
    {
        var path = await CallPathAsync(cancellationToken);
        var count = path.Path.Frames.Length;
        Frame = (uint)frame < (uint)count ? frame
            : !isMove ? throw new TargetException($"there is no frame {frame}: the call path has {count}, from 0 to {count - 1}", null)
            : throw new TargetException(frame < 0 ? "this is the innermost frame" : "this is the outermost frame: " + path.PathEnd.Describe(path.Task), null);
    }

    /// <summary>The chosen frame, after making sure that it belongs to this stop.</summary>
    public async ValueTask<int> FrameAsync(CancellationToken cancellationToken)
    {
        if (session.Map is not null)
        {
            await CallPathAsync(cancellationToken);
        }

        return Frame;
    }

    /// <summary>A number alone is a line of the file in which the chosen frame stands, as gdb has it; every other place is as it was written.</summary>
    public async ValueTask<string> PlaceAsync(string place, CancellationToken cancellationToken)
    {
        var digits = place.TakeWhile(char.IsAsciiDigit).Count();
        if (digits == 0 || (digits < place.Length && place[digits] != ' ') || session.Map is null)
        {
            return place;
        }

        var frame = await FrameAsync(cancellationToken);
        return (await CallPathAsync(cancellationToken)).Path.Frames is var frames && frame < frames.Length && frames[frame].File is { } file ? $"{file}:{place}" : place;
    }

    /// <summary>Memory or registers were changed: what was read before says nothing any more.</summary>
    public void Forget() => _path = null;

    public void Say(string text, TextRole role = TextRole.Plain) => output.Write(new LinesView([new TextLine().Add(text, role)]));
}
