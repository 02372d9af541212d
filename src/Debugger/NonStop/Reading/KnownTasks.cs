// Who ran, and where its paths end: written once for as long as a task does one thing. A system call's hits all end in the same saved registers of the user; only ax changes meanwhile.
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>Finds and writes tasks and ends of paths.</summary>
internal sealed class KnownTasks(CompactWriter trace)
{
    private const uint KernelThread = 0x0020_0000;

    private readonly Dictionary<(ulong Lookup, bool IsBootCpu), int> _bottoms = [];
    private readonly Dictionary<ulong, (byte[] User, int End)> _users = [];
    private readonly Dictionary<string, int> _others = new(StringComparer.Ordinal);
    private readonly List<TraceEnd> _ends = [];
    private readonly Dictionary<TaskKey, int> _tasks = [];

    private readonly record struct TaskKey(ulong CommLow, ulong CommHigh, uint Pid, uint ThreadGroup, int End, bool IsKnown, bool IsKernelThread);

    /// <summary>Names may be others from now on; ends of paths have some.</summary>
    public void Forget()
    {
        _bottoms.Clear();
        _users.Clear();
        _others.Clear();
        _ends.Clear();
        _tasks.Clear();
    }

    /// <summary>The end at the bottom of a stack; null: <see cref="AddBottom"/> it.</summary>
    /// <param name="lookup">Of the outermost frame.</param>
    public int? FindBottom(ulong lookup, bool isBootCpu) => _bottoms.TryGetValue((lookup, isBootCpu), out var end) ? end : null;

    public int AddBottom(ulong lookup, bool isBootCpu, TraceEnd end) => _bottoms[(lookup, isBootCpu)] = Add(end);

    /// <summary>The end in user space whose registers are these; null: <see cref="AddUser"/> it.</summary>
    /// <param name="user">The bytes that tell it from others.</param>
    public int? FindUser(ReadOnlySpan<byte> user, out ulong hash)
    {
        hash = Mix.Of(user);
        return _users.TryGetValue(hash, out var known) && user.SequenceEqual(known.User) ? known.End : null;
    }

    public int AddUser(ReadOnlySpan<byte> user, ulong hash, TraceEnd end)
    {
        var id = Add(end);
        _users[hash] = (user.ToArray(), id);
        return id;
    }

    /// <summary>Any other end.</summary>
    public int Of(TraceEnd end)
    {
        var text = $"{end.Reason} {end.Pc:x} {end.Sp:x} {end.Address:x} {end.Detail} {end.Syscall?.Number} {(end.Syscall is { } call ? string.Join(' ', call.Arguments) : "")}";
        return _others.TryGetValue(text, out var known) ? known : _others[text] = Add(end);
    }

    /// <summary>The id of a record's task with an end.</summary>
    public int TaskOf(RingRecord record, int end)
    {
        var comm = record.Comm;
        var key = new TaskKey(
            BinaryPrimitives.ReadUInt64LittleEndian(comm), BinaryPrimitives.ReadUInt64LittleEndian(comm[8..]), record.Pid, record.ThreadGroup, end, record.Task != 0,
            record.Pid == 0 || (record.TaskFlags & KernelThread) != 0);
        ref var id = ref CollectionsMarshal.GetValueRefOrAddDefault(_tasks, key, out var exists);
        if (!exists)
        {
            id = _tasks.Count;
            trace.Task(id, TaskOf(record), _ends[end]);
        }

        return id;
    }

    /// <summary>Whether there is room for another task and end; without, all that was found so far is void.</summary>
    public bool MakeRoom()
    {
        if (_tasks.Count < TraceFormat.MaxTasks && _ends.Count < TraceFormat.MaxTasks)
        {
            return true;
        }

        Forget();
        return false;
    }

    private static TraceTask? TaskOf(RingRecord record)
    {
        if (record.Task == 0)
        {
            return null;
        }

        var comm = record.Comm;
        var length = comm.IndexOf((byte)0);
        return new TraceTask((int)record.Pid, System.Text.Encoding.UTF8.GetString(length < 0 ? comm : comm[..length]))
        {
            ThreadGroup = (int)record.ThreadGroup,
            IsKernelThread = record.Pid == 0 || (record.TaskFlags & KernelThread) != 0,
        };
    }

    private int Add(TraceEnd end)
    {
        _ends.Add(end);
        return _ends.Count - 1;
    }
}
