// Who may touch the ring, the map and the trace: while the guest runs, the drain's thread; while it stands still, the recording's own task, which has asked the thread to pause. So neither needs a lock
// on anything else, and hits of both ways come into the trace in the guest's order: what is in the ring at a stop came before the stop.
using System.Diagnostics;

namespace KTrace.Debugger.NonStop.Ring;

/// <summary>Reads the ring on a thread of its own while the guest runs, and on its caller's at a stop.</summary>
internal sealed class RingDrain : IDisposable
{
    private const int Batch = 256;

    private readonly RingReader _reader;
    private readonly RingRecordTaker _take;
    private readonly long _highWater;
    private readonly Action _pauseGuest;
    private readonly Lock _turn = new();
    private readonly ManualResetEventSlim _running = new(false);
    private readonly Thread _thread;
    private volatile bool _ended;
    private bool _isPauseAsked;

    /// <param name="take">Called for each record, in order.</param>
    /// <param name="highWater">With more bytes than this in the ring, the guest is better stopped until they are read.</param>
    /// <param name="pauseGuest">Asks for that; called once for each time that the guest runs, from the drain's thread. Also when reading has failed, or <see cref="IsEnough"/>.</param>
    public RingDrain(RingReader reader, RingRecordTaker take, long highWater, Action pauseGuest)
    {
        (_reader, _take, _highWater, _pauseGuest) = (reader, take, highWater, pauseGuest);
        _thread = new Thread(Run) { IsBackground = true, Name = "ktrace ring" };
        _thread.Start();
    }

    /// <summary>Whether there are hits enough: nothing more is read then.</summary>
    public Func<bool> IsEnough { get; init; } = () => false;

    /// <summary>Called when a batch was read, and when the ring was found empty: what was written can go to the file.</summary>
    public Action Flush { get; init; } = () => { };

    /// <summary>What made reading end, or null.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>How often the guest was stopped for the ring's sake.</summary>
    public long Pauses { get; private set; }

    /// <summary>Seconds that the guest stood still while the ring was read.</summary>
    public double PausedSeconds { get; private set; }

    /// <summary>The guest runs: the thread reads.</summary>
    public void GuestRuns()
    {
        _isPauseAsked = false;
        _running.Set();
    }

    /// <summary>The guest stands still: reads all that is complete, and everything is the caller's until <see cref="GuestRuns"/>.</summary>
    /// <exception cref="TargetException">The ring holds something else than records; also what was met while the guest ran.</exception>
    public void GuestStopped()
    {
        var since = Stopwatch.StartNew();
        _running.Reset();
        lock (_turn)
        {
            // Bounded by what lies in the ring now: a guest that does not stand still after all adds more.
            for (var left = _reader.Fill; left > 0 && Failure is null && !IsEnough() && ReadBatch() is > 0 and var read; left -= read * (long)RecordFormat.ReturnSize)
            {
            }

            if (_isPauseAsked)
            {
                Pauses++;
                PausedSeconds += since.Elapsed.TotalSeconds;
            }
        }

        Flush();
        if (Failure is { } failure)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        }
    }

    public void Dispose()
    {
        _ended = true;
        _running.Set();
        _thread.Join();
        _running.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            _running.Wait();
            if (_ended)
            {
                return;
            }

            int read;
            lock (_turn)
            {
                if (!_running.IsSet)
                {
                    continue;
                }

                read = Failure is null && !IsEnough() ? ReadBatch() : 0;
                if (!_isPauseAsked && (Failure is not null || IsEnough() || _reader.Fill > _highWater))
                {
                    _isPauseAsked = true;
                    _pauseGuest();
                }
            }

            if (read < Batch)
            {
                Flush();
                Thread.Sleep(1);
            }
        }
    }

    private int ReadBatch()
    {
        try
        {
            return _reader.Read(Batch, _take);
        }
        catch (Exception e)
        {
            // Met on the thread or at a stop: told at the stop, where somebody can act on it.
            Failure = e;
            _reader.Close();
            return 0;
        }
    }
}
