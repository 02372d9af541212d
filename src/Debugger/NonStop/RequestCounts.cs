// One in so many, and the first so many: counted over all functions of a pattern or set, whoever sees their calls. Breakpoints stand in for trampolines early in a boot, and some functions need stops throughout; so there is
// one pair of numbers for each request, here at first and in the guest's memory once a trampoline counts there.
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Debugger.NonStop;

/// <summary>How many calls of each request there were, and how many of them were recorded. For use while the guest stands still.</summary>
internal sealed class RequestCounts
{
    private readonly Dictionary<TracepointRequest, (long Calls, long Taken)> _own = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<TracepointRequest, (NonStopMemory Memory, int Program)> _guests = new(ReferenceEqualityComparer.Instance);

    /// <summary>Whether the request counts anything.</summary>
    public static bool IsCounted(TracepointRequest request) => request.Actions.Sample > 1 || request.Actions.First is not null;

    /// <summary>Whether a call whose condition holds, and at which the guest stands, is one to record. It is counted.</summary>
    public bool Takes(TracepointRequest request)
    {
        if (!IsCounted(request))
        {
            return true;
        }

        var (calls, taken) = Of(request);
        var isTaken = calls % request.Actions.Sample == 0 && taken < (request.Actions.First ?? long.MaxValue);
        Set(request, calls + 1, taken + (isTaken ? 1 : 0));
        return isTaken;
    }

    /// <summary>From now on a trampoline counts too: it goes on from here, with the counters of a program.</summary>
    public void Share(TracepointRequest request, NonStopMemory memory, int program)
    {
        var (calls, taken) = Of(request);
        _guests[request] = (memory, program);
        Set(request, calls, taken);
    }

    private (long Calls, long Taken) Of(TracepointRequest request) => _guests.TryGetValue(request, out var guest)
        ? ((long)guest.Memory.Counter(At(guest.Program, ControlBlock.ProgramCalls)), (long)guest.Memory.Counter(At(guest.Program, ControlBlock.ProgramTaken)))
        : _own.GetValueOrDefault(request);

    private void Set(TracepointRequest request, long calls, long taken)
    {
        if (_guests.TryGetValue(request, out var guest))
        {
            guest.Memory.SetCounter(At(guest.Program, ControlBlock.ProgramCalls), (ulong)calls);
            guest.Memory.SetCounter(At(guest.Program, ControlBlock.ProgramTaken), (ulong)taken);
        }
        else
        {
            _own[request] = (calls, taken);
        }
    }

    private static int At(int program, int counter) => ControlBlock.Programs + (program * ControlBlock.ProgramStride) + counter;
}
