using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>
/// Writes hits that do not stop the machine: what repeats has ids, which the caller gives out, and what a line refers to must have been written before. Lines go out in batches: when there
/// are enough, with the next record of another kind, at <see cref="Flush"/>, and after a tenth of a second. All methods throw as <see cref="TraceWriter.Write"/> does.
/// </summary>
public sealed class CompactWriter
{
    private readonly TraceWriter _writer;
    private readonly TraceFile _file;
    private readonly RecordWriter _records;

    // Frames of the whole path, by the id of its innermost frame; 0 where there is none.
    private readonly ushort[] _depths = new ushort[TraceFormat.MaxStacks + 1];
    private readonly bool[] _isLeaf = new bool[TraceFormat.MaxStacks + 1];
    private readonly bool[] _tasks = new bool[TraceFormat.MaxTasks + 1];
    private int _lastTask;
    private readonly bool[] _results = new bool[TraceFormat.MaxTasks + 1];

    internal CompactWriter(TraceWriter writer, TraceFile file, RecordWriter records) => (_writer, _file, _records) = (writer, file, records);

    /// <summary>Gives everything to the operating system.</summary>
    /// <exception cref="TraceWriteException">The medium refused it.</exception>
    public void Flush()
    {
        lock (_file.Turn)
        {
            _file.Check();
            _file.Flush();
        }
    }

    /// <summary>A frame of a stack; see <see cref="TraceStack"/>.</summary>
    public void Stack(in TraceStack stack)
    {
        lock (_file.Turn)
        {
            _writer.CheckCompact(null);
            Check(stack.Id is > 0 and <= TraceFormat.MaxStacks, "a stack's id");
            Check(stack.Caller == 0 || ((uint)stack.Caller <= TraceFormat.MaxStacks && _depths[stack.Caller] > 0), "a stack's caller");
            Check(stack.Tracepoint is not { } tracepoint || _writer.HasTracepoint(tracepoint), "a stack's tracepoint");
            int depth = _depths[stack.Caller] + stack.Frames.Length;
            Check(stack.Frames.Length > 0 && depth <= TraceFormat.MaxPathFrames, "the number of a stack's frames");
            _records.Clear();
            TraceWriter.Marks marks = _writer.Mark();
            try
            {
                int[] frames = new int[stack.Frames.Length];
                for (int i = 0; i < frames.Length; i++)
                {
                    frames[i] = _writer.FrameId(stack.Frames[i]);
                }

                _records.Write(stack, frames);
            }
            catch (ArgumentException)
            {
                _writer.Undo(marks);
                throw;
            }

            _depths[stack.Id] = (ushort)depth;
            _isLeaf[stack.Id] = stack.Tracepoint is not null;
            Add();
        }
    }

    /// <param name="id">1 to <see cref="TraceFormat.MaxTasks"/>; one that was there before means this from now on.</param>
    /// <param name="task">Who runs; null when it is not known.</param>
    /// <param name="end">Where its paths end.</param>
    public void Task(int id, TraceTask? task, TraceEnd end)
    {
        lock (_file.Turn)
        {
            _writer.CheckCompact(null);
            Check(id is > 0 and <= TraceFormat.MaxTasks, "a task's id");
            _records.Clear();
            _records.Write(id, task, end);
            _tasks[id] = true;
            Add();
        }
    }

    /// <summary>What the values of hits in a function mean, from now on.</summary>
    /// <param name="function">Its frame at its entry.</param>
    public void Parameters(TraceFrame function, ImmutableArray<TraceParameter> parameters)
    {
        lock (_file.Turn)
        {
            _writer.CheckCompact(null);
            Check(parameters.Length <= TraceFormat.MaxArguments, "the number of parameters");
            _records.Clear();
            TraceWriter.Marks marks = _writer.Mark();
            try
            {
                _records.Write(_writer.FrameId(function), parameters);
            }
            catch (ArgumentException)
            {
                _writer.Undo(marks);
                throw;
            }

            Add();
        }
    }

    /// <summary>What a value of a parameter means, where its form does not say it; holds until <see cref="Parameters"/> is called for the function again.</summary>
    /// <param name="parameter">From 0 on.</param>
    public void Meaning(TraceFrame function, int parameter, ulong value, string text)
    {
        lock (_file.Turn)
        {
            _writer.CheckCompact(null);
            _records.Clear();
            _records.WriteMeaning(_writer.FrameId(function), parameter, value, text);
            Add();
        }
    }

    /// <summary>The type of what some functions return.</summary>
    /// <param name="id">1 to <see cref="TraceFormat.MaxTasks"/>; one that was there before means this from now on.</param>
    /// <param name="type">In C's words.</param>
    /// <param name="form">One of <see cref="ValueForm"/>.</param>
    public void Result(int id, string? type, string form)
    {
        lock (_file.Turn)
        {
            _writer.CheckCompact(null);
            Check(id is > 0 and <= TraceFormat.MaxTasks, "a result's id");
            _records.Clear();
            _records.WriteResult(id, type, form);
            _results[id] = true;
            Add();
        }
    }

    public void Hit(in CompactHit hit)
    {
        lock (_file.Turn)
        {
            Check((uint)hit.Stack <= TraceFormat.MaxStacks && _isLeaf[hit.Stack], "a hit's stack");
            Check((uint)hit.Task <= TraceFormat.MaxTasks && _tasks[hit.Task], "a hit's task");
            Check(hit.Cpu >= 0, "a CPU's number");
            Check(hit.Described.IsDefaultOrEmpty || hit.Described.Length == _depths[hit.Stack], "the number of lists of arguments");
            _writer.CheckCompact(hit.Sequence);
            int[] values = hit.Described.IsDefaultOrEmpty ? [] : Describe(hit.Described);
            CompactLines.Write(_file.Pending, hit, values, hit.Task == _lastTask);
            _lastTask = hit.Task;
            _file.Added(isHit: true);
        }
    }

    public void Return(in CompactReturn returned)
    {
        lock (_file.Turn)
        {
            _writer.CheckCompact(null);
            Check(_writer.HasHit(returned.Hit), "a return's hit");
            Check((uint)returned.Result <= TraceFormat.MaxTasks && (returned.Result == 0 || _results[returned.Result]), "a return's result");
            Check(returned.Cpu >= 0, "a CPU's number");
            CompactLines.Write(_file.Pending, returned);
            _file.Added(isHit: false);
        }
    }

    private int[] Describe(ImmutableArray<ArgumentList> arguments)
    {
        _records.Clear();
        TraceWriter.Marks marks = _writer.Mark();
        try
        {
            int[] values = _writer.ValueIds(arguments, ref marks);
            _file.Pending.Add(_records.Written);
            return values;
        }
        catch (ArgumentException)
        {
            _writer.Undo(marks);
            throw;
        }
    }

    private void Add()
    {
        _file.Pending.Add(_records.Written);
        _file.Added(isHit: false);
    }

    private static void Check(bool holds, string what)
    {
        if (!holds)
        {
            throw new ArgumentException(what + " is not what the trace's format allows, or refers to what was not written");
        }
    }
}
